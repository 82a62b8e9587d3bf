"""Priors, shared by EM, samplers and generative functions.

`mixtures.MixturePrior` joins a Dirichlet over the weights with a prior of the components; of these
there is one file each, with the contract of `components.ComponentPrior`.
"""

"""How Sphinx makes the documentation; `make docs` runs it."""

import gmm_jax

project = html_title = "gmm_jax"
release = gmm_jax.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
exclude_patterns = ["conf.py", "notebooks/*.ipynb", "notebooks/.ipynb_checkpoints"]
html_theme = "furo"
html_theme_options = {"light_css_variables": {"code-font-size": "74%"}}  # 100 columns fit
html_show_copyright = False

# Docstrings: what stands in single backticks becomes a link where there is something to link to.
default_role = "py:obj"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # a list: entries would be there twice
python_maximum_signature_line_length = 88

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Tutorials are scripts. They are run when their code is new (`make clean` forgets the old runs).
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_timeout = 1200
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict] = {}  # sliders don't move without a kernel: pictures stand still

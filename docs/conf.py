"""The documentation site: ``sphinx-build -W docs site``.

The first build draws the pictures of the strategies' pages, by running their commands; with ``-t without_pictures`` it
leaves them out, which is enough to check all else.
"""

import sys
from pathlib import Path

from manyhands import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "manyhands"
release = __version__
copyright = "the manyhands authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinx_design"]
if tags.has("without_pictures"):  # noqa: F821 - given by Sphinx
    suppress_warnings = ["image.not_readable"]
else:
    extensions.append("draw")
exclude_patterns = ["static"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
smartquotes = False  # two hyphens are an option
default_role = "code"  # docstrings set names in single quotes of this kind

autodoc_member_order = "bysource"
autodoc_typehints = "none"
toc_object_entries = False

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "manyhands"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_favicon = "static/mark.svg"
html_copy_source = False
html_theme_options = {"sidebar_hide_name": False, "light_logo": "mark.svg", "dark_logo": "mark.svg"}
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
html_domain_indices = False
copybutton_exclude = ".linenos, .gp, .go"

"""A run on the terminal and as a page, comparisons as pages, and the templates and the style that pages share."""

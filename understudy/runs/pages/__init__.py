"""One run as text, curves, plots and a page."""

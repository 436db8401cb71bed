"""understudy learns a part by watching people and then rehearses until it plays it better."""

__version__ = "0.1.0"

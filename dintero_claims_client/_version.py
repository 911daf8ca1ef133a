"""The library's version, read here by the build too."""

__version__ = "0.1.0"

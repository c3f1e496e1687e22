"""Acoustic features: short-time spectra, low-level descriptors, functionals and the named sets they form."""

"""The six networks, the bundle that holds them, and the cascade that runs them.

Pixels and scale in, `domain.analysis.Analysis` out; knows nothing of DICOM or patients.
"""

"""The words all rooms share: identities, images, cells, analyses, numbers, findings, states.

Pure values and arithmetic: no input or output, no clock, no randomness. Knows no other room.
"""

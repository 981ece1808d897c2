"""Draws smears whose truth is known. Knows `domain` and no other room."""

"""The proof by simulation: releases going through a fleet of 111,110 machines, driven by the real core functions."""

"""Pods in figures: what a step in one costs beside a bare one, what waiting for many costs, and how that grows."""

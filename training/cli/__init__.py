"""The commands that train, evaluate and predict: each parses, calls one library function, and prints.

The only room of ``training`` that imports ``pipeline``: commands bring clusters, published weights, the regions of
action units and the windows of videos to functions that know nothing of them, and what a run answered to the viewer.
"""

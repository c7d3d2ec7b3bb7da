"""The live page: a local server that shows a folder of runs while they grow, and may start and stop them."""

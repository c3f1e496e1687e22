"""Pages and pictures of what was measured."""

from emovox.outputs.plots import leave_no_cache

leave_no_cache()

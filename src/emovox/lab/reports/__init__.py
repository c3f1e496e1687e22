"""HTML and Markdown reports of experiments, comparisons and hyper-parameter searches, with their plots."""

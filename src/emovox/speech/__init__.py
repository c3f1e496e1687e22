"""Where somebody speaks: voice activity, the edges of speech, and whether there is speech at all."""

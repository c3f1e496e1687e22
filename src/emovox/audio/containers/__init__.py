"""What the bytes of a file say about the sound in it: where streams begin and end, and what is missing.

Decoders trust a header where it and the bytes disagree; these modules count.  They decode nothing.
"""

"""`make soak`: producers keep producing while ingestion is killed at every point, and broker and store come and go.

At the end every message that was committed is in the lake once, asked by what it says and by `verify`.
"""

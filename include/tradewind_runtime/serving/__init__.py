"""The model server: KServe's V2 protocol over what the lake says an endpoint should serve.

`tensors` reads requests, `arms` counts, `endpoint` holds what is served, `capture` keeps what was asked and
answered, `upkeep` follows the lake; `model`, `plane`, `rest` and `rpc` are KServe's side, `__main__` the process.
"""

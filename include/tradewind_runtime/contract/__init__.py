"""The contract between the control plane and the data plane: pure data, light to import."""

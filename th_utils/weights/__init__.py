"""Weight space: tensors only, no model."""

"""Talk with a trained model."""

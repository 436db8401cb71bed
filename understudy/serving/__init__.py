"""Talking with a trained part."""

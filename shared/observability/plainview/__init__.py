"""One call makes a FastAPI service observable."""

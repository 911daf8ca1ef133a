"""What is measured, and the results."""

"""What the rows of a robustness evaluation say, as one page, figures, tables and MLflow runs."""

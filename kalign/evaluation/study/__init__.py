"""A whole study: several models trained, evaluated and tabulated beside a paper's table."""

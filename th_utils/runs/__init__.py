"""Running a model on prompts, and what its runs say."""

"""`python -m th_utils report MODEL`: the paper's measurements on one model, as a JSON file and a page."""

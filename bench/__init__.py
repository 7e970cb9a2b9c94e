"""Figures with a history: `python -m bench` measures and appends, `--compare` judges. No test depends on a speed."""

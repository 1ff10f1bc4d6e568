"""The one name that tagstream's wheel claims. The folders `stream`, `model_export` and `monitoring` of the checkout are its rooms."""

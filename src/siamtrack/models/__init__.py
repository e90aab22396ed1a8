"""Networks: backbones, necks, correlations, heads, and the families built from them."""

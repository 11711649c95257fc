"""A user's `nn.Module`, handled with care: what is prunable in it, how it is called, copied, isolated and held."""

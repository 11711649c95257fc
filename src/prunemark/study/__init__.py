"""A study: file -> `Study` -> `Plan` (a DAG of content-hashed jobs) -> executor -> `Store` -> results."""

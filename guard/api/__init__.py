"""The HTTP service: routes, their schemas, their errors. `app.create_app` is the composition root."""

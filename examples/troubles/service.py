"""The shop, observed: three lines, and one more for the mounted app that is a service itself."""

from shop import create_app

from plainview import ObservabilitySettings, observe

app = create_app()
observe(app, ObservabilitySettings(service_name="shop", log_format="json"))
observe(app.state.twin, ObservabilitySettings(service_name="twin", log_format="json"))

"""From a merged model to a container that answers, and back: images, manifests, registry and releases, for real."""

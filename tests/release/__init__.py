"""Images, manifests, registry and releases, with real programs: from a merged model to a container that answers."""

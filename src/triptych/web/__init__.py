"""A run behind HTTP: the API and the page. Transport and pictures only; what is answered comes from the floor below."""

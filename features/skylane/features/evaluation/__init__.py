"""The one evaluator: values of features from arrays, for training and for the online store alike. numpy alone."""

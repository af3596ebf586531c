//! What an estimator is: traits, metrics, splits, preprocessing, the model file.

"""Numbers to predict: tables and time series, regression and forecasting."""

"""What learns: estimators with the interface of scikit-learn, and the families they form."""

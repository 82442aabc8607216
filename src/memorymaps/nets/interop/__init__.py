"""Models of other libraries: scikit-learn's multilayer perceptrons, laplace-torch, GPyTorch."""

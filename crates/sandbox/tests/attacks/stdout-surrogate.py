# attack: {"tries": "prints a lone surrogate, NaN and the largest floats", "outcomes": ["exited"]}
print(float("nan"), float("inf"), -float("inf"), 1.7976931348623157e308, 5e-324)
try:
    print("\ud800")
except UnicodeEncodeError:
    pass
done()

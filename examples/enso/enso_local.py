"""How the sea surface temperature of the Pacific goes with the swing of the air pressure."""

from correlation import lagged
from soi import index
from sst import anomaly

result = lagged(anomaly(), index())

print("The index leads by … months, correlation with the Niño 3.4 anomaly")
for lag, value in zip(result.lag.values, result.values, strict=True):
    print(f"{lag:+3d}  {value:+.3f}")

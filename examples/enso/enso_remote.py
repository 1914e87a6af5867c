"""How the sea surface temperature of the Pacific goes with the swing of the air pressure."""

from landbridge.remote.geomar.sst import anomaly
from landbridge.remote.gfz.correlation import lagged
from landbridge.remote.hereon.soi import index

result = lagged(anomaly(), index())

print("The index leads by … months, correlation with the Niño 3.4 anomaly")
for lag, value in zip(result.lag.values, result.values, strict=True):
    print(f"{lag:+3d}  {value:+.3f}")

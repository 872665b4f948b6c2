"""Feature networks: 8-bit images or clips in, named feature vectors out.

Begin with `base.FeatureNetwork`, the contract, and `loaders.load_feature_network`; every other module is one network
or a part of several. Cards of the networks are in `catalog.feature_networks`. May import `catalog`.
"""

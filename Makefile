# threadcast. `make help` lists what there is.

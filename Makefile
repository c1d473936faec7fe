# `sam build` calls this target for the layer (BuildMethod: makefile).
.PHONY: build-LookupsLayer
build-LookupsLayer:
	bash infra/lookups/install.sh "$(ARTIFACTS_DIR)/lookups"

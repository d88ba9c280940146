module github.com/portcullis-gateway/portcullis/clients/go

go 1.19

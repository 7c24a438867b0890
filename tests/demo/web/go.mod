module vk-demo-web

go 1.26.0
